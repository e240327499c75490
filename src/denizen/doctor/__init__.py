"""What the service stands on, looked at: database, schema, durability, clock, mail, limits.

`denizen doctor` and the console's page on the system tell the findings, each in its own words.
"""
