"""What is observed, and how well: operators `H`, errors `R`, backgrounds and quality control."""
