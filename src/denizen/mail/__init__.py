"""Mail: queued in the transaction of its cause, sent by a worker, in the recipient's language."""
