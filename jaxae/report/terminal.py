"""A run's figures as a short table for the terminal."""

RULES = {
    "expected_cost": "least expected cost",
    "false_alarm_rate": "false-alarm rate at most {}",
    "recall": "recall at least {}",
    "precision": "precision at least {}",
    "best_f1": "best F1",
    "f_beta": "best F-beta, beta {}",
    "youden": "recall minus false-alarm rate",
    "quantile": "{} quantile of normal scores",
    "mad": "{} robust deviations above the median",
    "iqr": "{} quartile ranges above the upper quartile",
    "mixture": "mixture of two normals",
    "extreme_value": "extreme-value tail at rate {}",
}


def table(figures: dict, config: dict) -> str:
    """What `metrics.json` and `config.json` say, in a few lines.

    Args:
      figures: of a run of `detect`, as in `metrics.json`.
      config: its settings.

    Example:
      >>> from jaxae.report.terminal import table
      >>> print(table({"threshold": 0.5, "flagged": 0.04}, {"rule": ["false_alarm_rate", 0.05]}))
      λ = 0.5   rule: false-alarm rate at most 0.05
      4.0% of the test rows are flagged; without labels of both kinds there are no test figures
    """
    name, value = config["rule"]
    rule = RULES[name].format(value) if name in RULES else f"{name}{'' if value is None else f'={value:g}'}"
    lines = [f"λ = {figures['threshold']:.6g}   rule: {rule}"]
    proven = figures.get("guarantees", {}).get("lines", ())
    if "auroc" not in figures:
        flagged = f"{figures['flagged']:.1%} of the test rows are flagged"
        return "\n".join([*lines, f"{flagged}; without labels of both kinds there are no test figures", *proven])
    rate, share = f"at {figures['anomaly_rate']:.3g}", f"raw, {figures['test_anomaly_share']:.0%}"
    lines += ["", f"{'test':<20}{rate:>10}{share:>12}   anomalies"]
    for key in ("auroc", "recall", "false_alarm_rate", "precision", "f1", "average_precision"):
        label = {"auroc": "AUROC", "f1": "F1", "false_alarm_rate": "false-alarm rate"}.get(key, key.replace("_", " "))
        raw = figures.get(f"{key}_raw")
        lines.append(f"{label:<20}{figures[key]:>10.4f}" + ("" if raw is None else f"{raw:>12.4f}"))
    miss, false_alarm = config["cost"]
    lines += [
        "",
        f"expected cost at {miss:g}:{false_alarm:g}   {figures['expected_cost']:.4f}   "
        f"(oracle λ {figures['expected_cost_oracle']:.4f}, flag all {figures['expected_cost_always']:.4f}, "
        f"flag none {figures['expected_cost_never']:.4f})",
        *(["", *proven] if proven else []),
    ]
    return "\n".join(lines)
