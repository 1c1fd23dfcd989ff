use std::fs;
use std::path::PathBuf;

use super::{Files, Origin};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }
}

fn texts(files: &Files) -> Vec<String> {
    files.texts().map(|(_, text)| text.map_or_else(ToString::to_string, |text| text.to_string())).collect()
}

#[test]
fn a_folder_has_its_manifests_in_order() {
    let folder = Folder::new();
    for name in ["b.yaml", "a.json", "c.yml", "d.txt", "e"] {
        folder.write(name, name);
    }
    fs::create_dir(folder.at("f.yaml")).unwrap();
    std::os::unix::fs::symlink("d.txt", folder.at("g.yaml")).unwrap();
    let mut files = Files::new(vec![Origin::Path(folder.0.path().into()), Origin::Text("in".into())]);
    files.look();
    assert_eq!(texts(&files), ["a.json", "b.yaml", "c.yml", "d.txt", "in"]);
}

#[test]
fn a_text_counts_once_two_looks_have_found_it() {
    let folder = Folder::new();
    folder.write("a.yaml", "one");
    let mut files = Files::new(vec![Origin::Path(folder.at("a.yaml"))]);
    assert!(!files.look());
    assert!(files.look() && files.look());
    // Written in place, as long as before, within the grain of the clock that files are dated by.
    folder.write("a.yaml", "two");
    assert!(!files.look());
    folder.write("a.yaml", "six");
    assert!(!files.look());
    assert!(files.look());
    assert_eq!(texts(&files), ["six"]);
}

#[test]
fn what_cannot_be_read_is_told_and_comes_back() {
    let folder = Folder::new();
    let name = folder.at("a.yaml").display().to_string();
    let mut files = Files::new(vec![Origin::Path(folder.at("a.yaml"))]);
    files.look();
    assert!(files.look());
    assert_eq!(texts(&files), [format!("cannot read {name}: No such file or directory")]);
    folder.write("a.yaml", "there");
    files.look();
    assert!(files.look());
    assert_eq!(texts(&files), ["there"]);
    let mut empty = Files::new(vec![Origin::Path(folder.0.path().join("."))]);
    fs::remove_file(folder.at("a.yaml")).unwrap();
    empty.look();
    assert!(texts(&empty)[0].ends_with(": no .json, .yaml or .yml file is in this folder"));
    fs::write(folder.at("b.yaml"), [0xff, 0xfe]).unwrap();
    let mut bytes = Files::new(vec![Origin::Path(folder.at("b.yaml"))]);
    bytes.look();
    assert!(texts(&bytes)[0].ends_with("stream did not contain valid UTF-8"), "{:?}", texts(&bytes));
}
