"""What a user gives in memory: reports, imagery and a state, in the form that methods take."""
