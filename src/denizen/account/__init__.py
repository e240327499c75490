"""My account: what somebody who is signed in sees and changes of themselves."""
