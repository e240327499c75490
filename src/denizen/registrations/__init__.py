"""Registration, e-mail first: a stranger gives an address, its owner chooses the rest."""
