"""Is a manifest right, before anybody applies it?  For `groundplane validate`.

`objects` judges one object after the other, by the schemas that are known; `definitions` and `compositions` add what only
they can be asked; `findings` is what all of them give.  Pure: where in a file a field is written, and how it is told, is the command's affair.
"""
