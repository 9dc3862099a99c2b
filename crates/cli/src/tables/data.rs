//! What data sets hold.

use comfy_table::Table;
use hardgrad_lab::data::{CheckReport, Dataset, KnownSet};
use serde_json::{Value, json};

use super::{grouped, notes, table};

pub fn known_sets(sets: &[KnownSet]) -> String {
    let blocks = sets.iter().map(|set| {
        format!("{}\n  {}\n  licence: {}\n  source: {}", set.name, set.description, set.licence, set.source)
    });
    blocks.collect::<Vec<_>>().join("\n")
}

pub fn check(report: &CheckReport) -> String {
    let rows = report.files.iter().map(|file| {
        vec![
            file.name.clone(),
            file.format.map_or_else(|| "-".to_string(), |format| format.to_string()),
            file.shape(),
            file.sha256
                .as_ref()
                .map_or_else(|| "-".to_string(), |sha256| format!("{}…", &sha256[..12.min(sha256.len())])),
            file.verdict.to_string(),
        ]
    });
    let set = match (report.known_set, report.verified()) {
        (Some(set), true) => format!("{}: all checksums hold", set.name),
        (Some(set), false) => format!("claims to be {}, but is not", set.name),
        (None, _) if report.problem.is_none() => "not a known set; it can be used".to_string(),
        (None, _) => "cannot be used".to_string(),
    };
    let files = table(&["file", "format", "size", "sha256", "verdict"], 5, rows);
    let classes = report.dataset.as_ref().map_or_else(String::new, |set| format!("\n{}", classes(set)));
    format!("{files}\n{set}{classes}{}", notes(&report.notes))
}

/// How many images each class has.
fn classes(set: &Dataset) -> Table {
    let rows = set.class_names.iter().zip(set.class_counts()).enumerate().map(|(class, (name, [train, test]))| {
        vec![class.to_string(), name.clone(), grouped(train as u64), grouped(test as u64)]
    });
    table(&["class", "name", "training images", "test images"], 2, rows)
}

/// The check of a folder for machines.
pub fn check_json(report: &CheckReport) -> Value {
    let files = report.files.iter().map(|file| {
        json!({
            "name": file.name,
            "format": file.format.map(|format| format.to_string()),
            "dims": file.dims,
            "sha256": file.sha256,
            "verdict": file.verdict.to_string(),
        })
    });
    json!({
        "files": files.collect::<Vec<_>>(),
        "known_set": report.known_set.map(|set| set.name),
        "verified": report.verified(),
        "problem": report.problem.as_ref().map(ToString::to_string),
        "classes": report.dataset.as_ref().map(classes_json),
        "notes": report.notes,
    })
}

fn classes_json(set: &Dataset) -> Vec<Value> {
    let counts = set.class_names.iter().zip(set.class_counts()).enumerate();
    let classes = counts.map(|(class, (name, [train, test]))| {
        json!({"class": class, "name": name, "training_images": train, "test_images": test})
    });
    classes.collect()
}
