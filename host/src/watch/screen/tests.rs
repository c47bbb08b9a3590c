//! Whole pictures, at the sizes that matter.

use std::fs;
use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::app::{After, App, Pane};
use super::{Look, draw};
use crate::report::live::{FILE, Process};
use crate::watch::place;
use crate::watch::{Reader, Snapshot, State};

const PLAIN: Look = Look { unicode: true, colour: false };

/// A run in the middle of its first round, by the present process.
fn record() -> Value {
    json!({
        "format": 1, "name": "small", "seed": 3, "state": "running", "process": Process::this(),
        "started": 1000.0, "updated": 1042.0,
        "stages": [
            {"label": "sft", "state": "done", "seconds": 3.12, "done": 8, "all": 8, "unit": "steps", "rate": 2.5},
            {"label": "M0: sample, for evaluation", "state": "reused", "seconds": 2.0},
            {"label": "round 1: train", "state": "running", "seconds": 12.0, "done": 5, "all": 20, "unit": "steps",
             "rate": 1.5, "tokens_per_second": 4321.0},
            {"label": "M2: sample, for evaluation"},
        ],
        "curves": [
            {"stage": "sft", "metric": "loss", "points": [[1, 2.0], [8, 1.0]]},
            {"stage": "round 1: train", "metric": "loss", "points": [[1, 0.69], [2, 0.5], [3, 0.4], [5, 0.25]]},
            {"stage": "round 1: train", "metric": "rewards/margins", "points": [[1, 0.0], [5, 0.8]]},
        ],
        "samples": [
            {"stage": "round 1: sample", "prompt": "add 1 2", "response": "3"},
            {"stage": "round 1: sample", "prompt": "say \u{1b}[31mred", "response": "日本\u{1b}]0;x\u{7}\nend"},
        ],
        "warnings": ["2 of 40 rows are too long"], "warned": 3,
    })
}

struct World(tempfile::TempDir);

impl World {
    fn new(record: &Value) -> World {
        let world = World(tempfile::tempdir().unwrap());
        fs::write(world.path().join(FILE), record.to_string()).unwrap();
        world
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn app(&self) -> App {
        let mut snapshot = Snapshot::of(self.path());
        // The clock goes on.
        snapshot.seconds = snapshot.seconds.map(|_| 42.0);
        snapshot.stages.iter_mut().filter(|s| s.seconds > 1e6).for_each(|s| s.seconds = 12.0);
        App::of(Reader::new(self.path()), snapshot)
    }
}

fn picture(app: &mut App, width: u16, height: u16, look: Look) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, app, look)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| {
        let (mut line, mut x) = (String::new(), 0);
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            line += symbol;
            x += (unicode_width::UnicodeWidthStr::width(symbol) as u16).max(1);
        }
        line.trim_end().to_owned() + "\n"
    };
    (0..height).map(line).collect()
}

fn press(app: &mut App, codes: &[KeyCode]) -> After {
    codes.iter().map(|code| app.key(KeyEvent::new(*code, KeyModifiers::NONE))).last().unwrap_or(After::Stay)
}

/// The number of the process differs.
fn without_id(picture: &str) -> String {
    let id = format!("process {}", std::process::id());
    picture.replace(&id, "process 1")
}

#[test]
fn a_run_at_80_by_24() {
    let world = World::new(&record());
    let found = without_id(&picture(&mut world.app(), 80, 24, PLAIN));
    assert_eq!(found, include_str!("pictures/80x24.txt"), "{found}");
}

#[test]
fn a_run_at_40_by_10_one_pane_after_the_other() {
    let world = World::new(&record());
    let mut app = world.app();
    let mut found = String::new();
    for _ in Pane::ALL {
        found += &without_id(&picture(&mut app, 40, 10, PLAIN));
        press(&mut app, &[KeyCode::Tab]);
    }
    assert_eq!(found, include_str!("pictures/40x10.txt"), "{found}");
    assert_eq!(app.pane, Pane::Stages);
}

#[test]
fn no_size_is_too_small_and_ascii_is_ascii() {
    let world = World::new(&record());
    let mut app = world.app();
    let ascii = Look { unicode: false, colour: true };
    for (width, height) in
        [(0, 0), (1, 1), (2, 1), (1, 9), (3, 3), (7, 2), (15, 5), (59, 16), (60, 15), (60, 16), (300, 90)]
    {
        for help in [false, true] {
            for pane in Pane::ALL {
                (app.help, app.pane) = (help, pane);
                let found = picture(&mut app, width, height, ascii);
                assert!(found.is_ascii() && !found.contains('\x1b'), "{width}×{height}:\n{found}");
            }
        }
    }
}

#[test]
fn keys_do_what_the_help_says() {
    let world = World::new(&record());
    let mut app = world.app();
    press(&mut app, &[KeyCode::Tab]);
    assert!(picture(&mut app, 80, 24, PLAIN).contains("loss, round 1: 0.2500"));
    press(&mut app, &[KeyCode::Down]);
    assert!(picture(&mut app, 80, 24, PLAIN).contains("rewards/margins, round 1: 0.8000"));
    press(&mut app, &[KeyCode::Down, KeyCode::Up, KeyCode::Up, KeyCode::Left, KeyCode::Left]);
    assert!(picture(&mut app, 80, 24, PLAIN).contains("loss, sft: 1.0000"));
    press(&mut app, &[KeyCode::Enter]);
    let found = picture(&mut app, 80, 24, PLAIN);
    assert!(found.contains("loss, sft") && !found.contains("Stages"), "{found}");
    press(&mut app, &[KeyCode::Char('?')]);
    assert!(picture(&mut app, 80, 24, PLAIN).contains(" Help "));
    // The first Esc closes the help, the second shows all panes again, the third leaves.
    assert_eq!(press(&mut app, &[KeyCode::Esc]), After::Stay);
    assert_eq!(press(&mut app, &[KeyCode::Esc]), After::Stay);
    assert!(picture(&mut app, 80, 24, PLAIN).contains("Stages"));
    assert_eq!(press(&mut app, &[KeyCode::Esc]), After::Leave);
    assert_eq!(press(&mut app, &[KeyCode::Char('q')]), After::Leave);
    assert_eq!(app.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), After::Leave);
}

#[test]
fn long_panes_scroll() {
    let mut long = record();
    let stages: Vec<Value> = (0..200).map(|i| json!({"label": format!("stage {i}"), "state": "done"})).collect();
    long["stages"] = json!(stages);
    let world = World::new(&long);
    let mut app = world.app();
    let shows = |app: &mut App, label: &str| picture(app, 40, 10, PLAIN).contains(&format!("{label} "));
    assert!(shows(&mut app, "stage 199"));
    press(&mut app, &[KeyCode::Home]);
    assert!(shows(&mut app, "stage 0") && !shows(&mut app, "stage 199"));
    press(&mut app, &[KeyCode::Up, KeyCode::Down, KeyCode::PageDown]);
    assert!(shows(&mut app, "stage 11") && !shows(&mut app, "stage 10"));
    press(&mut app, &[KeyCode::End]);
    assert!(shows(&mut app, "stage 199"));
    press(&mut app, &[KeyCode::Up]);
    assert!(shows(&mut app, "stage 193"));
}

#[test]
fn a_sweep_has_a_list_of_its_runs() {
    let world = World::new(&record());
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<Value> = (0..100).map(|seed| json!({"seed": seed, "folder": format!("none-{seed}")})).collect();
    let sweep = json!({"name": "judges", "arms": [
        {"name": "rubric", "runs": [{"seed": 3, "folder": world.path()}, {"seed": 4, "folder": 5}, "damage"]},
        {"name": "\u{1b}[2J", "runs": runs},
    ]});
    fs::write(folder.path().join("sweep.json"), sweep.to_string()).unwrap();
    let mut app = App::new(place::find(folder.path(), &[]).unwrap());
    picture(&mut app, 80, 10, PLAIN);
    assert!(app.look());
    let found = picture(&mut app, 80, 10, PLAIN);
    assert!(found.contains("judges: 101 runs") && found.contains("rubric, seed 3"), "{found}");
    assert!(found.contains("running") && found.contains("round 1: train 5/20"), "{found}");
    assert!(found.contains("^[[2J, seed 0") && found.contains("not started"), "{found}");
    press(&mut app, &[KeyCode::End]);
    picture(&mut app, 80, 10, PLAIN);
    app.look();
    assert!(picture(&mut app, 80, 10, PLAIN).contains("seed 99"));
    press(&mut app, &[KeyCode::Home, KeyCode::Enter]);
    assert!(picture(&mut app, 80, 24, PLAIN).contains("small, seed 3: running"));
    assert_eq!(press(&mut app, &[KeyCode::Backspace]), After::Stay);
    assert!(picture(&mut app, 80, 10, PLAIN).contains("judges: 101 runs"));
}

#[test]
fn hostile_records_are_shown_as_far_as_they_can_be() {
    let huge: Vec<Value> = (0..5000).map(|i| json!([i, if i % 2 == 0 { 1.7e308 } else { -1.7e308 }])).collect();
    let evil = "\u{1b}[2J\u{202e}\u{9b}31m\u{7}".repeat(50);
    let hostile = json!({
        "name": evil, "state": "running", "started": -1e300, "updated": 1e300, "error": evil,
        "process": {"id": 1, "began": u64::MAX, "boot": evil, "host": evil},
        "stages": [{"label": evil, "state": "running", "done": u64::MAX, "all": 1, "unit": evil, "rate": 1e308, "seconds": -1e308}],
        "curves": [{"stage": evil, "metric": evil, "points": huge}, {"stage": evil, "metric": "x", "points": [[u64::MAX, 0.0], [0, 0.0]]}],
        "samples": [{"prompt": evil, "response": format!("{}\n", evil.repeat(100))}], "warnings": [evil], "warned": u64::MAX,
    });
    let world = World::new(&hostile);
    let mut app = world.app();
    assert_eq!(app.snapshot.unreadable, Vec::<String>::new());
    for pane in Pane::ALL {
        app.pane = pane;
        for (width, height) in [(80, 24), (40, 10), (200, 60)] {
            let found = picture(&mut app, width, height, PLAIN);
            assert!(!found.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{found:?}");
        }
    }
    // Other values, files that are no record, and none: told, never a panic.
    let large = "[".repeat(5 << 20);
    let cases: [&[u8]; 9] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        b"{\"stages\": 7}",
        b"{\"seed\": -1}",
        large.as_bytes(),
        b"{\"state\": \"x\"}",
    ];
    for bytes in cases {
        fs::write(world.path().join(FILE), bytes).unwrap();
        let mut app = world.app();
        assert_eq!(
            (app.snapshot.state, app.snapshot.unreadable.len()),
            (State::Unknown, 1),
            "{:?}",
            &bytes[..bytes.len().min(20)]
        );
        assert!(picture(&mut app, 80, 24, PLAIN).contains("progress.json"));
    }
    fs::remove_file(world.path().join(FILE)).unwrap();
    assert_eq!(world.app().snapshot.state, State::Absent);
    fs::create_dir(world.path().join(FILE)).unwrap();
    assert_eq!(world.app().snapshot.unreadable, ["progress.json: not a file"]);
}

#[test]
fn locale_and_terminal_decide_the_characters() {
    let look = |pairs: &[(&str, &str)]| {
        Look::of(|name| pairs.iter().find(|(n, v)| *n == name && !v.is_empty()).map(|(_, value)| value.to_string()))
    };
    let cases: [(&[(&str, &str)], bool); 6] = [
        (&[("LANG", "de_DE.UTF-8"), ("TERM", "xterm")], true),
        (&[("LC_ALL", "C.utf8"), ("LANG", "C")], true),
        (&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], false),
        (&[("LC_ALL", ""), ("LC_CTYPE", ""), ("LANG", "en_US.UTF-8")], true),
        (&[("LANG", "en_US.UTF-8"), ("TERM", "linux")], false),
        (&[("TERM", "xterm-256color")], false),
    ];
    for (pairs, unicode) in cases {
        assert_eq!(
            look(pairs).unicode,
            unicode || cfg!(windows) && pairs.iter().all(|(_, v)| *v != "linux"),
            "{pairs:?}"
        );
    }
    assert!(look(&[]).colour && !look(&[("NO_COLOR", "1")]).colour && !look(&[("TERM", "vt220")]).colour);
}
