//! /openapi.json as its judges see it.

use crate::{app::App, beds};

#[test]
fn the_document_is_openapi_3_1() {
    let Some(mut validator) = beds::program("openapi_spec_validator") else { return };
    let app = App::start();
    for (name, key) in
        [("operator", Some(app.key.as_str())), ("viewer", Some(app.viewer.as_str())), ("nobody", None)]
    {
        let document = app.get("/openapi.json", key);
        let file = app.data().join(format!("{name}.json"));
        std::fs::write(&file, &document.body).unwrap();
        assert!(document.json()["openapi"].as_str().unwrap().starts_with("3.1"));
        validator.arg(file);
    }
    let said = validator.output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{text}");
}

#[test]
fn the_surface_is_what_it_was() {
    let app = App::start();
    let document = app.get("/openapi.json", Some(&app.key)).json();
    let mut page = String::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let Some(answers) = operation["responses"].as_object() else { continue };
            let answers: Vec<&str> = answers.keys().map(String::as_str).collect();
            page.push_str(&format!("{method} {path}: {}\n", answers.join(" ")));
        }
    }
    expect_test::expect_file!["openapi.txt"].assert_eq(&page);
}

#[test]
fn every_operation_answers_as_it_says() {
    let Some(mut schemathesis) = beds::program("schemathesis") else { return };
    let app = App::unlimited();
    let said = schemathesis
        .current_dir(app.data())
        .arg("run")
        .args(["--header", &format!("Authorization: Bearer {}", app.key)])
        .args([
            "--max-examples",
            "8",
            "--seed",
            "1",
            "--workers",
            "2",
            "--no-color",
            "--request-timeout",
            "35",
        ])
        .args(["--phases", "examples,coverage,fuzzing", "--generation-database", "none"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .arg(format!("{}/openapi.json", app.url))
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    let from = text.len().saturating_sub(12_000);
    let from = (from..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    assert!(said.status.success(), "{}", &text[from..]);
}
