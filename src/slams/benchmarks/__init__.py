"""Problems with a known answer, and the tables that hold the methods to it."""
