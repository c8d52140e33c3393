//! Money as people of a language write it.

/// Prints an amount with its currency in the manner of a language: `€ 309.90` in English, `€ 309,90` in Dutch, `309,90 €` in
/// German, French, Spanish and Italian. Two decimals; an unknown currency is its code.
#[must_use]
pub fn money(amount: f64, currency: &str, lang: &str) -> String {
    let sign = match currency {
        "EUR" => "€",
        "USD" => "$",
        "GBP" => "£",
        "JPY" => "¥",
        other => other,
    };
    let plain = format!("{:.2}", amount.abs());
    let (whole, cents) = plain.split_once('.').unwrap_or((&plain, "00"));
    let (group, point) = if lang.starts_with("en") { (',', '.') } else { ('.', ',') };
    let mut digits = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            digits.push(group);
        }
        digits.push(digit);
    }
    let minus = if amount < 0.0 { "-" } else { "" };
    match lang.get(..2).unwrap_or("en") {
        "de" | "fr" | "es" | "it" => format!("{minus}{digits}{point}{cents} {sign}"),
        _ => format!("{sign} {minus}{digits}{point}{cents}"),
    }
}

#[cfg(test)]
mod tests {
    use super::money;

    #[test]
    fn each_language_writes_its_own_way() {
        assert_eq!(money(309.9, "EUR", "en"), "€ 309.90");
        assert_eq!(money(309.9, "EUR", "nl"), "€ 309,90");
        assert_eq!(money(1_234_567.5, "EUR", "it"), "1.234.567,50 €");
        assert_eq!(money(-5.0, "SEK", "en"), "SEK -5.00");
    }
}
