"""What a state must carry to forecast the next day's temperature, by regression and network."""
