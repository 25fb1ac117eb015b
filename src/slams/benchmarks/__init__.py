"""Problems with a known answer and measurements of cost, behind `slams bench`."""
