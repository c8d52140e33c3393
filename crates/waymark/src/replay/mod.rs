//! From a file of rows to events in event-time order.

pub mod mapping;
pub mod rows;

use std::path::Path;

use event::Event;

use mapping::Mapping;

/// Reads a whole file into events, sorted stably by time; rows of equal time keep the file's order.
///
/// # Errors
/// A message with file and line of the first row that cannot be read.
pub fn read(events: &Path, mapping: &Mapping) -> Result<Vec<Event>, String> {
    let format = mapping.format.or_else(|| rows::format_of(events));
    let format = format.ok_or_else(|| {
        format!(
            "{}: format is not told by the name: set format in the mapping, csv or jsonl",
            events.display()
        )
    })?;
    let mut found = Vec::new();
    for row in rows::read(events, format)? {
        let event = mapping.event(&row);
        found.push(event.map_err(|message| format!("{}:{}: {message}", events.display(), row.line))?);
    }
    found.sort_by_key(|event| event.time);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const MAPPING: &str = r#"
version = 1
source = "test"
[time]
column = "at"
format = "%Y-%m-%d %H:%M"
zone = "Europe/Amsterdam"
[id]
hash = "row"
[type]
column = "what"
values = { buy = "order.completed" }
default = "page.viewed"
[channel]
default = "web"
[[identifiers]]
column = "who"
kind = "customer"
[attributes]
value = { column = "price", type = "double" }
"#;

    fn run(name: &str, content: &[u8]) -> Result<Vec<Event>, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        let mapping = Mapping::parse("mapping.toml", MAPPING).expect("mapping is valid");
        read(&path, &mapping).map_err(|message| message.replace(&folder.path().display().to_string(), ""))
    }

    #[test]
    fn csv_json_lines_and_gzip_give_the_same_events_in_time_order() {
        let csv = "at,what,who,price\n2024-07-01 12:01,buy,7,3.5\n2024-07-01 12:00,look,7,\n";
        let events = run("a.csv", csv.as_bytes()).expect("readable");
        assert_eq!(events[0].kind, "page.viewed");
        assert_eq!(events[1].kind, "order.completed");
        assert_eq!(
            events[0].time.0, 1_719_828_000_000,
            "noon in Amsterdam is ten o'clock UTC in summer"
        );
        assert_eq!(events[1].attributes["value"], event::Attribute::Double(3.5));
        assert!(events[0].attributes.is_empty());

        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(csv.as_bytes()).expect("packed");
        assert_eq!(run("a.csv.gz", &gzip.finish().expect("packed")), Ok(events.clone()));

        let json = "{\"at\":\"2024-07-01 12:01\",\"what\":\"buy\",\"who\":7,\"price\":3.5}\n\n";
        let from_json = run("a.jsonl", json.as_bytes()).expect("readable");
        assert_eq!(from_json[0].attributes, events[1].attributes);
        assert_eq!(from_json[0].identifiers, events[1].identifiers);
    }

    #[test]
    fn what_cannot_be_read_names_file_line_and_column() {
        let found = |name: &str, content: &str| run(name, content.as_bytes()).expect_err("unreadable");
        assert!(
            found("a.csv", "at,what,who,price\nyesterday,buy,7,1\n")
                .starts_with("/a.csv:2: time cannot be read: column=at")
        );
        assert_eq!(
            found("a.csv", "at,what,who,price\n2024-07-01 12:00,buy,7,much\n"),
            "/a.csv:2: value cannot be read: column=price"
        );
        assert!(
            found("a.csv", "at,what,who,price\n2024-07-01 12:00,buy\n").starts_with("/a.csv:2: row cannot be read")
        );
        assert!(found("a.jsonl", "{}\n[1]\n").starts_with("/a.jsonl:2: not a JSON object"));
        assert!(found("a.txt", "x").starts_with("/a.txt: format is not told by the name"));
    }

    #[test]
    fn a_wrong_mapping_is_refused_where_it_is_wrong() {
        let refused =
            |from: &str, to: &str| Mapping::parse("mapping.toml", &MAPPING.replace(from, to)).expect_err("refused");
        assert!(refused("kind = \"customer\"", "kind = \"person\"").contains("unknown identifier kind: found=person"));
        assert!(refused("Europe/Amsterdam", "Europe/Atlantis").contains("unknown zone"));
        assert!(refused("version = 1", "version = 2").contains("found=2 known=1"));
        assert!(refused("default = \"web\"", "default = \"fax\"").contains("unknown channel: found=fax"));
        assert!(refused("column = \"at\"", "colum = \"at\"").contains("line 5"));
    }
}
