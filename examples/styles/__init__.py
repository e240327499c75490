"""One job in five styles: the same three scenarios, one outer interface, one contract for all.

a_first_sketch    the sketch that denizen grew from, changed only as far as it needs to run
b_second_sketch   its second half: a session manager, CRUD on the model; likewise
c_model_verbs     CRUD on the model over `denizen.db`, the way denizen itself is built
d_functions       free functions over `denizen.db`
e_repository      repositories and a service with a unit of work over `denizen.db`

`outer.py` is what surrounds them, `contract/` what they are held to, `changes/` the patches whose
size is counted. `make styles` measures; the answer stands in
`docs/decisions/0001-crud-on-the-model.md`.
"""
