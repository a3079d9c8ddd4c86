"""The programs of `deployment_template`, as users call them."""
