"""What is timed, and only here: ratios measured side by side in one run, never in a test."""
