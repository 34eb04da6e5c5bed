"""One module a tab; each has a `build` that adds the tab's components and events to the open `gr.Blocks`."""
