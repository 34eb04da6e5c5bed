"""The page: a Gradio app that shows a run of `dear.pipeline` as it happens. gradio is imported here and nowhere else."""
