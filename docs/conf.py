"""How the documentation is built. Nothing here needs a network."""

import os
from importlib.metadata import version as installed_version

project = "skdive"
author = "skdive developers"
project_copyright = author
release = version = installed_version("skdive")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/*.ipynb", "auto_examples/*.py"]

default_role = "py:obj"  # what the docstrings put in single backticks
add_function_parentheses = False
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # numpydoc has the types
autodoc_member_order = "bysource"
autosummary_generate = False  # the API is one page
numpydoc_show_class_members = False  # listed in api.rst, without what scikit-learn documents

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "plot_gallery": os.environ.get("SKDIVE_DOCS_PLOT", "1") != "0",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("skdive",),
    "reference_url": {"skdive": None},
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skdive"
html_static_path = ["_static"]
html_css_files = ["skdive.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"**": []}
html_theme_options = {
    "logo": {"text": "skdive"},
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_prev_next": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
