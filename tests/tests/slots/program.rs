//! Programs behind slots: real child processes.

use crate::world::{RESPONSES, World};

fn world(script: &str, deadline: f64) -> World {
    let world = World::new();
    world.write("verify.sh", script);
    let slots = format!(
        "allow-native = true\n[slots.grader]\nprogram = [\"sh\", \"verify.sh\"]\ndeadline-seconds = {deadline:?}\n"
    );
    world.write("slots.toml", &slots);
    world
}

/// Answers each line by a `case` on its text.
const READ: &str = "while IFS= read -r line; do echo \"$line\" >> asked.jsonl\n";

#[test]
fn a_program_is_asked_line_by_line_and_started_once() {
    let script = format!(
        "echo started >> starts\n{READ}case \"$line\" in\n\
         *'Rate 38 '*) echo '{{\"text\": \"Score: 5\"}}' ;;\n\
         *'Rate 33 '*) echo '{{\"error\": \"no opinion\"}}' ;;\n\
         *) echo '{{\"texts\": [\"Score: 1.5\"]}}' ;;\nesac; done\necho ended >> starts\n"
    );
    let world = world(&script, 60.0);
    let ran = world.judge(&[], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(world.read("starts"), "started\nended\n");
    let asked = world.read("asked.jsonl");
    assert_eq!(asked.lines().count(), RESPONSES);
    for (i, line) in asked.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["id", "messages", "count", "max_new_tokens", "temperature", "top_p"]);
        assert_eq!((line["id"].as_u64(), line["count"].as_u64()), (Some(i as u64 + 1), Some(1)));
    }
    // p-0000: 33, 32, 38, 32
    assert_eq!(world.scores()[..4], [None, Some(1.5), Some(5.0), Some(1.5)]);
    assert!(world.read("out.jsonl").contains("no opinion"));
}

#[test]
fn programs_that_do_wrong_are_named_with_the_line_and_what_they_said() {
    let answer = "echo '{\"text\": \"Score: 1\"}'";
    let third = |wrong: &str| format!("n=0\n{READ}n=$((n+1)); if [ $n = 3 ]; then {wrong}; else {answer}; fi; done\n");
    let cases = [
        (third("echo 'out of order' >&2; exit 3"), &["exit status: 3", "out of order", "line 3"][..]),
        (third("exit 0"), &["ended", "line 3"]),
        (third("echo 'I feel fine'"), &["I feel fine", "line 3", "expected {\"text\""]),
        (third("echo '{\"text\": 5}'"), &["line 3"]),
        (third("echo '{\"texts\": [\"a\", \"b\"]}'"), &["expected 1 texts", "line 3"]),
        (third("echo '{\"id\": 7, \"text\": \"a\"}'"), &["id 3", "line 3"]),
        (third("exec sleep 600"), &["did not answer within 2 s", "line 3"]),
        (
            format!("{READ}{answer}; done\necho 'bad end' >&2; exit 4\n"),
            &["exit status: 4", "bad end", "after its last"],
        ),
        (format!("{READ}{answer}; done\necho more\n"), &["more lines than it was asked"]),
        ("exec sleep 600\n".to_owned(), &["did not answer within 2 s", "line 1"]),
        ("exit 1\n".to_owned(), &["exit status: 1", "line 1"]),
    ];
    for (script, parts) in cases {
        let world = world(&script, 2.0);
        let shown = world.fails(5, parts, &[]);
        assert!(shown.contains("'sh verify.sh'"), "{shown}");
    }
}

#[test]
fn a_long_line_and_a_flood_are_bounded() {
    let long = "head -c 20000000 /dev/zero | tr '\\0' 'x'; echo\n";
    world(long, 30.0).fails(5, &["a line of more than 16 MiB"], &[]);
    let flood = "while :; do echo '{\"text\": \"Score: 1\"}'; done\n";
    world(flood, 30.0).fails(5, &["more lines than it was asked"], &[]);
}

#[test]
fn a_program_needs_leave_and_must_be_there() {
    let world = World::new();
    world.write("slots.toml", "[slots.grader]\nprogram = [\"sh\", \"verify.sh\"]\n");
    world.fails(2, &["slots.toml:2", "allow-native"], &[]);
    world.write("slots.toml", "allow-native = true\n[slots.grader]\nprogram = [\"./nowhere\"]\n");
    world.fails(3, &["slots.toml:3: ", "./nowhere", "there is no program at"], &[]);
}
