"""The configuration: every key has a default, and a mistake is named."""

import pytest

from barograph.config import Config, ConfigError, load, load_text


def test_nothing_is_needed():
    assert load_text("") == Config()
    assert Config().host == "127.0.0.1"


def test_all_of_it_is_read(monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    config = load_text(
        """
        port = 9000
        targets = ["http://a:8000", {url = "http://b:8000", token_variable = "SECRET"}]
        webhooks = [{url = "http://hook", severities = ["page"]}]
        [models.fraud]
        owner = "payments"
        limits = {errors = 0.01, "amount.D" = 0.3}
        """
    )
    assert config.port == 9000
    assert [t.url for t in config.targets] == ["http://a:8000", "http://b:8000"]
    assert config.targets[1].secret() == "s3cret" and config.targets[0].secret() is None
    assert config.webhooks[0].severities == ("page",)
    assert config.model("fraud").limits["amount.D"] == 0.3
    assert config.model("unknown").budget == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "unknown key 'prot'; did you mean 'port'"),
        ("[models.m]\nowners = 'x'", "did you mean 'owner'"),
        ("port = 'high'", "port is 'high'; it must be of type int"),
        ("port = true", "port is True"),
        ("targets = 'http://a'", "write a list"),
        ("[models.m.limits]\n'quality.roc_acu' = 0.8", "did you mean 'roc_auc'"),
        ("window = 420", "window is 420 seconds; write 3600, 1800, 900"),
        ("window = 30", "write 3600, 1800, 900"),
        ("models = 3", "write \\[models.NAME\\]"),
        ("[models.m]\nlimits = {errors = 'low'}", "errors is 'low'; it must be a number: write a share"),
        ("port = = 1", "the configuration:"),
    ],
)
def test_a_mistake_is_named_with_the_remedy(text, message):
    with pytest.raises(ConfigError, match=message):
        load_text(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="gone.toml"):
        load(tmp_path / "gone.toml")


OWNED = """
[models.credit.metrics]
cost = "(5 * fn + fp) / n"

[models.credit.limits]
"quality.cost" = 0.4

[[models.credit.fears]]
name = "Good customers refused"
feared = "We refuse people who would have paid"
metric = "recall"
limit = 0.8
owner = "credit"
segment = "region=north"
"""


def test_owners_write_metrics_and_what_they_fear():
    model = load_text(OWNED).model("credit")
    assert model.metrics == {"cost": "(5 * fn + fp) / n"} and model.limits == {"quality.cost": 0.4}
    (fear,) = model.fears
    assert (fear.metric, fear.limit, fear.worse, fear.owner) == ("recall", 0.8, None, "credit")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("(5 * fn + fp) / n", "fn ** 2", "'fn ** 2' cannot stand in a formula"),
        ("(5 * fn + fp) / n", "__import__('os')", "use tp, fp, fn, tn, n or right, wrong, n, and numbers"),
        ("(5 * fn + fp) / n", "fn +", "'fn +' is no formula"),
        ("(5 * fn + fp) / n", "fn / right", "use tp, fp, fn, tn, n or right, wrong, n, and numbers"),
        ("cost = ", "recall = ", "'recall' is a metric already"),
        ("quality.cost", "quality.costs", "unknown metric 'costs'; did you mean 'cost'?"),
        ('metric = "recall"', 'metric = "recal"', "Good customers refused: unknown metric 'recal'; did you mean 'recall'?"),
        ('metric = "recall"', 'metric = "positive_rate"', "unknown metric 'positive_rate'"),
        ('owner = "credit"', 'worse = "under"', "worse is 'under'; write \"above\" or \"below\""),
        ("region=north", "north", "segment is 'north'; write \"KEY=VALUE\""),
        ("feared =", "fears =", "unknown key 'fears'; did you mean 'feared'?"),
        ("limit = 0.8", 'limit = "0.8"', "limit is '0.8'; it must be of type float"),
    ],
)  # fmt: skip
def test_a_metric_or_fear_that_cannot_be_is_refused_with_the_remedy(before, after, said):
    assert before in OWNED
    with pytest.raises(ConfigError) as refused:
        load_text(OWNED.replace(before, after, 1))
    assert said in str(refused.value)
