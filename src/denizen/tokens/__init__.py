"""Links in mail: tokens that work once, for one purpose, until they expire or are superseded."""
