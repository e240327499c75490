"""The audit log: who did what to whom, from where, when, in the transaction of the act."""
