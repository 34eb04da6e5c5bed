"""How the students are made: every idea of the paper in one readable place, runnable at nano size on two cores."""
