"""The web pages of the registry: exchanges like everything else, complete without JavaScript.

They show and do what the account API shows and does, by the same functions. What is theirs alone is how
people sign in: passwords, sessions, and keys that are approved.
"""
