"""How long something takes, in words."""


def duration(seconds: float) -> str:
    """About how long: "12 s", "4 min", "1 h 20 min", "23 h", "4 days"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if minutes < 60:
        return f"{minutes} min"
    if hours < 10:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{hours} h" if hours < 48 else f"{round(hours / 24)} days"
