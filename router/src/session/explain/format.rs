//! A tree of nodes in the formats of EXPLAIN.
//!
//! Names and the way of nesting are PostgreSQL's (`src/backend/commands/explain_format.c`), so that programs that draw its
//! plans draw these.

use std::fmt::Write as _;

use planner::ExplainFormat;
use serde_json::{Map, Value};

use super::outline::{Node, milliseconds};

/// The rows of EXPLAIN's answer: a line each of text, else one that holds all.
pub fn render(rung: &str, root: &Node, format: ExplainFormat) -> Vec<String> {
    if format == ExplainFormat::Text {
        return text(root);
    }
    let mut whole = Map::new();
    whole.insert("Route".to_owned(), rung.into());
    whole.insert("Plan".to_owned(), root.to_value());
    if let Some(actual) = root.actual {
        let time = milliseconds(actual.elapsed);
        whole.insert("Execution Time".to_owned(), time.into());
    }
    let whole = Value::from(whole);
    vec![match format {
        ExplainFormat::Xml => {
            let namespace = "http://www.postgresql.org/2009/explain";
            let mut out = format!("<explain xmlns=\"{namespace}\">");
            xml(&mut out, "Query", &whole, 1);
            out.push_str("\n</explain>");
            out
        }
        ExplainFormat::Yaml => {
            let mut out = String::new();
            yaml(&mut out, &Value::from(vec![whole]), 0);
            out.trim_start_matches('\n').to_owned()
        }
        ExplainFormat::Text | ExplainFormat::Json => json(&Value::from(vec![whole])),
    }]
}

/// Indented, for people who read it all the same.
pub fn json(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// A tree as lines, the shards' own plans beneath their nodes.
pub fn text(root: &Node) -> Vec<String> {
    let mut lines = Vec::new();
    draw(root, "", "", &mut lines);
    if let Some(actual) = root.actual {
        let time = milliseconds(actual.elapsed);
        lines.push(format!("Execution Time: {time:.3} ms"));
    }
    lines
}

fn draw(node: &Node, before: &str, indent: &str, lines: &mut Vec<String>) {
    let mut line = format!("{before}{}", node.line);
    if let Some(rows) = node.estimated_rows {
        let width = node.estimated_width_bytes;
        let width = width.map_or(String::new(), |width| format!(" width={width}"));
        let _ = write!(line, "  (estimated rows={rows}{width})");
    }
    if let Some(actual) = node.actual {
        let _ = write!(line, "  (actual rows={}", actual.rows);
        if let Some(bytes) = actual.bytes {
            let _ = write!(line, " bytes={bytes}");
        }
        let _ = write!(line, " time={:.3} ms)", milliseconds(actual.elapsed));
    }
    lines.push(line);
    for own in node.own_plan.iter().flat_map(Value::as_array).flatten() {
        lines.push(format!("{indent}   {}", own.as_str().unwrap_or_default()));
    }
    for (index, child) in node.children.iter().enumerate() {
        let last = index + 1 == node.children.len();
        let before = format!("{indent}{}", if last { "└─ " } else { "├─ " });
        let below = format!("{indent}{}", if last { "   " } else { "│  " });
        draw(child, &before, &below, lines);
    }
}

fn yaml(out: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(object) => {
            for (index, (name, value)) in object.iter().enumerate() {
                // The first name stands behind the dash of its list.
                if index > 0 || !out.ends_with("- ") {
                    let _ = write!(out, "\n{indent}");
                }
                let _ = write!(out, "{name}: ");
                yaml(out, value, depth + 1);
            }
        }
        Value::Array(list) => {
            for value in list {
                let _ = write!(out, "\n{indent}- ");
                yaml(out, value, depth + 1);
            }
        }
        // A string of JSON is one of YAML.
        other => out.push_str(&other.to_string()),
    }
}

fn xml(out: &mut String, name: &str, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    let tag = name.replace(' ', "-");
    let _ = write!(out, "\n{indent}<{tag}>");
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                xml(out, name, value, depth + 1);
            }
            let _ = write!(out, "\n{indent}");
        }
        Value::Array(list) => {
            let item = if name == "Plans" { "Plan" } else { "Item" };
            for value in list {
                xml(out, item, value, depth + 1);
            }
            let _ = write!(out, "\n{indent}");
        }
        Value::String(text) => escape(out, text),
        other => out.push_str(&other.to_string()),
    }
    let _ = write!(out, "</{tag}>");
}

fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
}

/// A shard's own answer with the route in front of it, in the answer's format. An answer of another form stays as it is.
pub fn with_route(answer: &str, route: &Node, format: ExplainFormat) -> String {
    let mut fields = vec![("Route", Value::from(route.kind))];
    fields.extend(route.fields.iter().cloned());
    let opening = match format {
        ExplainFormat::Text => return answer.to_owned(),
        ExplainFormat::Json => "{",
        ExplainFormat::Yaml => "- ",
        ExplainFormat::Xml => "<Query>",
    };
    let Some(at) = answer.find(opening).map(|at| at + opening.len()) else {
        return answer.to_owned();
    };
    let mut out = answer[..at].to_owned();
    for (name, value) in fields {
        match format {
            ExplainFormat::Json => {
                let _ = write!(out, "\n    \"{name}\": {value},");
            }
            ExplainFormat::Yaml => {
                let _ = write!(out, "{name}: {value}\n  ");
            }
            ExplainFormat::Xml | ExplainFormat::Text => xml(&mut out, name, &value, 2),
        }
    }
    out.push_str(&answer[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> Value {
        serde_json::json!([{"Route": "Gather", "Plan": {"SQL": "a < \"b\"", "Plans": [{"Rows": 1}]}}])
    }

    #[test]
    fn trees_are_written_as_postgresql_writes_them() {
        let mut out = String::new();
        yaml(&mut out, &value(), 0);
        assert_eq!(
            out,
            "\n- Route: \"Gather\"\n  Plan: \n    SQL: \"a < \\\"b\\\"\"\n    Plans: \n      - Rows: 1"
        );
        let mut out = String::new();
        xml(&mut out, "Plan", &value()[0]["Plan"], 0);
        assert_eq!(
            out,
            "\n<Plan>\n  <SQL>a &lt; &quot;b&quot;</SQL>\n  <Plans>\n    <Plan>\n      <Rows>1</Rows>\n    </Plan>\n  </Plans>\n</Plan>"
        );
    }
}
