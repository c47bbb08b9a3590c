//! `creamery logps`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::chat::TemplateArgs;
use super::stage::{ModelArgs, OutArgs};
use crate::data::{ScoringRow, rows};
use crate::error::{Error, Result};
use crate::score::{ScoreGroup, group_logps};
use crate::train::sequence_logp;

const EXAMPLES: &str = r#"Rows:
  {"input_ids": [1, 5, 9, 2], "response_start": 2}    token ids; the response is all from this index on
  {"prompt": [messages], "completion": [message]}     a conversation, through the model's chat template; what the
                                                      template writes after the end token does not count
  {"prompt": "text", "completion": "text"}            plain text, joined without a template

Result, one line a row, log-probabilities in nats at temperature 1:
  {"id": "row-000000", "token_logps": [-0.1, -2.3], "sum_logp": -2.4, "tokens": 2}

Examples:
  creamery logps --model examples/quickstart/model --rows examples/stages/rows.jsonl
  creamery logps --model examples/quickstart/model --rows examples/stages/rows.jsonl --out out/logps.jsonl"#;

/// Log-probabilities of given responses, token by token
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Logps {
    #[command(flatten)]
    model: ModelArgs,
    /// JSON Lines with the prompts and responses
    #[arg(long, value_name = "FILE")]
    rows: PathBuf,
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    out: OutArgs,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    token_logps: &'a [f32],
    sum_logp: f64,
    tokens: usize,
}

/// Rows that are scored, and then written, together.
const ROWS: usize = 256;

impl Logps {
    pub(super) fn run(self) -> Result<()> {
        let rows = rows::read_scoring(&self.rows)?;
        let mut progress = self.out.progress();
        self.model.fetch(&mut progress)?;
        let options = self.template.options()?;
        let model = self.model.load()?;
        // Token ids need no tokenizer, so a folder without one will do for them.
        let needs_text = rows.iter().any(|row| !matches!(row.row, ScoringRow::Ids { .. }));
        let chat = needs_text.then(|| self.model.chat(&model, &options)).transpose()?;
        let stop = match &chat {
            Some(chat) => chat.tokenizer().stop_ids(&self.model.folder()?)?,
            None => model.eos_token_ids().to_vec(),
        };
        let mut out = self.out.open()?;
        progress.start("logps");
        let started = std::time::Instant::now();
        let place = |line: usize, e: Error| e.row(&self.rows, line);
        let mut done = 0;
        for part in rows.chunks(ROWS) {
            let mut ids = Vec::with_capacity(part.len());
            for row in part {
                ids.push(row.row.encode(chat.as_ref(), &stop).map_err(|e| place(row.line, e))?);
            }
            let groups: Vec<ScoreGroup> =
                (ids.iter()).map(|(prompt, response)| ScoreGroup { prompt, responses: vec![response] }).collect();
            // Checked one by one, so that an error names the line.
            for (row, group) in part.iter().zip(&groups) {
                crate::score::check_group(&model, group).map_err(|what| place(row.line, Error::input(what)))?;
            }
            for (row, logps) in part.iter().zip(group_logps(&model, &groups)?) {
                let token_logps = &logps[0];
                if let Some(at) = token_logps.iter().position(|x| !x.is_finite()) {
                    let what = format!("the log-probability of response token {at} is {}", token_logps[at]);
                    return Err(place(row.line, Error::run(what).help("the model's weights are damaged or too large")));
                }
                let (sum_logp, tokens) = (sequence_logp(token_logps), token_logps.len());
                out.write(&Row { id: &row.id, token_logps, sum_logp, tokens })?;
            }
            done += part.len();
            progress.update(done, rows.len());
        }
        progress.finish(false, started.elapsed().as_secs_f64());
        out.finish()
    }
}
