"""What readers of station archives share: finding the files, and the table of reports."""
