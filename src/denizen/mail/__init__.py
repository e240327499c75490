"""Mail: what is said to whom, in their language, and how it leaves."""
