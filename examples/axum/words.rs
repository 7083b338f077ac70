//! What is told to users in words.

use std::time::Duration;

/// In the largest unit that leaves no fraction: "8 hours", "15 minutes", "2.5 seconds".
pub(crate) fn in_words(duration: Duration) -> String {
    let units = [("hour", 60 * 60), ("minute", 60), ("second", 1)];
    let counts = units.map(|(unit, seconds)| (duration.div_duration_f64(Duration::from_secs(seconds)), unit));
    let whole = counts.into_iter().find(|(count, _)| *count >= 1.0 && count.fract() == 0.0);
    let (count, unit) = whole.unwrap_or((duration.as_secs_f64(), "second"));
    match count.to_string().as_str() {
        "1" => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}

pub(crate) fn whole_seconds(duration: Duration) -> String {
    in_words(Duration::from_secs(duration.as_secs()))
}

/// In words that users recognize. Browsers name others beside themselves, so the order counts.
pub(crate) fn device(user_agent: &str) -> String {
    let browsers = [
        ("Edg", "Edge"),
        ("OPR", "Opera"),
        ("Firefox", "Firefox"),
        ("Chrome", "Chrome"),
        ("Safari", "Safari"),
        ("curl", "curl"),
    ];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    let named = |names: &[(&str, &'static str)]| {
        names.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| *name)
    };
    match (named(&browsers), named(&systems)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => user_agent.chars().take(40).collect(),
    }
}
