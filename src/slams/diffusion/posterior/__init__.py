"""What guidance is made of: the problem of one case, its errors, and likelihoods."""
