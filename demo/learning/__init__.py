"""The parts of the Learn tab that know no gradio: lessons, the walk through one query, the losses, the pages, the worksheet."""
