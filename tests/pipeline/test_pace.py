from backend.pipeline.pace import Pace


def test_the_first_is_due_at_once_and_the_others_by_their_price() -> None:
    pace = Pace(share=0.05, least=1.0)
    assert pace.due(-1e9)
    pace.made(10.0, 10.01)  # cheap: but not more often than once a second
    assert not pace.due(11.0)
    assert pace.due(11.01)
    pace.made(20.0, 21.0)  # one second of twenty
    assert not pace.due(39.9)
    assert pace.due(40.0)
