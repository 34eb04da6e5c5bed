// Learn, Compare, My data: what needs no server.
