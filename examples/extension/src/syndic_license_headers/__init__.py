"""License headers: a tool that lists files without one, a gate that insists on them, a graph that looks first."""
