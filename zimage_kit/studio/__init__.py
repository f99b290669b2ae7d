"""The panel and its parts: ipywidgets for form and layout, anywidget (plain ES modules) for what those lack.

Widgets hold no truth: the form makes a Request, an Artifact fills the viewer, a recipe fills the form again.
"""
