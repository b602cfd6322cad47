from mmssl.training.early_stopping import EarlyStopping


def test_stops_after_patience_evaluations_without_a_better_value():
    stopping = EarlyStopping(patience=2)
    history = [(1, 0.1), (2, 0.3), (3, 0.3), (4, 0.2)]
    improved = [stopping.update(epoch, value) for epoch, value in history]
    assert improved == [True, True, False, False]
    assert stopping.should_stop
    assert (stopping.best_epoch, stopping.best_value) == (2, 0.3)


def test_a_better_value_starts_the_count_anew():
    stopping = EarlyStopping(patience=2)
    for epoch, value in enumerate([0.1, 0.05, 0.2, 0.1], start=1):
        stopping.update(epoch, value)
    assert not stopping.should_stop
