"""How the service is and how it goes: counts for the first page of the console."""
