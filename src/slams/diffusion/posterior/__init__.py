"""Parts shared by all kinds of guidance: the problem of one case, its errors, likelihoods."""
