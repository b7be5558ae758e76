//! Measuring a loaded model: contexts are made, run and thrown away; the weights stay.

use std::time::{Duration, Instant};

use llama_cpp_2::model::LlamaModel;

use super::candidate::Candidate;
use super::objective::{Point, Speeds, median};
use super::perplexity;
use super::search::Measure;
use crate::llama_cpp::context::{Context, ContextShape};
use crate::llama_cpp::forward::{Feed, Forward};
use crate::llama_cpp::options::KvType;
use crate::llama_cpp::sizing::ModelSize;
use crate::llama_cpp::vocabulary::Vocabulary;

/// llama.cpp rounds each sequence's cells up to this.
const CELLS: u32 = 256;
/// Tokens that are read at once by the slowest candidate; depths are multiples of it.
pub(super) const STRIDE: u32 = 512;

/// What to measure.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    /// Streams at once, ascending; the first is 1.
    pub(super) batches: Vec<u32>,
    /// Tokens in the caches, ascending multiples of [`STRIDE`]; 0 is always measured.
    pub(super) depths: Vec<u32>,
    /// Steps of generating at each point.
    pub(super) steps: u32,
    /// Most bytes of KV cache; batches that don't fit are left out.
    pub(super) kv_bytes: u64,
    /// Tokens of text for the perplexity.
    pub(super) text: usize,
}

/// A model to be measured.
pub(super) struct Bench<'m> {
    model: &'m LlamaModel,
    size: ModelSize,
    vocabulary: &'m Vocabulary,
    workload: Workload,
    /// What candidates don't touch.
    shape: ContextShape,
    started: Instant,
}

impl<'m> Bench<'m> {
    pub(super) fn new(
        model: &'m LlamaModel,
        size: ModelSize,
        vocabulary: &'m Vocabulary,
        shape: ContextShape,
        mut workload: Workload,
    ) -> Self {
        workload.depths.retain(|depth| depth + CELLS <= size.trained_for);
        Self { model, size, vocabulary, workload, shape, started: Instant::now() }
    }

    /// How long one measurement of this model takes, as guessed from one run of a few tokens.
    pub(super) fn estimate(&self) -> Result<Duration, String> {
        let mut context = Context::new(self.model, &self.shape_of(&Candidate::of(&self.shape), 1, CELLS))?;
        let token = self.token_time(&mut context)?;
        let step = median_step(|position| self.step(&mut context, 1, 80 + position), 2)?;
        let deepest = self.workload.depths.last().copied().unwrap_or(STRIDE).max(STRIDE);
        // A step of several streams takes at most as long as reading as many tokens does, and a step of one.
        let steps = self.workload.batches.iter().map(|batch| step + token * *batch).sum::<Duration>();
        let rounds = (self.workload.steps + 1) * u32::try_from(self.workload.depths.len() + 1).unwrap_or(1);
        Ok(token * deepest + steps * rounds)
    }

    /// How long reading a token takes.
    fn token_time(&self, context: &mut Context<'_>) -> Result<Duration, String> {
        self.read(context, 0, 16, 16)?;
        let begun = Instant::now();
        self.read(context, 16, 64, 64)?;
        Ok(begun.elapsed() / 64)
    }

    /// Takes less text until the perplexity with both KV types is found within `limit`.
    pub(super) fn fit_text(&mut self, limit: Duration) -> Result<(), String> {
        /// With less the figure says nothing.
        const LEAST: usize = 256;
        let mut context = Context::new(self.model, &self.shape_of(&Candidate::of(&self.shape), 1, CELLS))?;
        let seconds = self.token_time(&mut context)?.as_secs_f64().max(1e-9);
        let affordable = (limit.as_secs_f64() / 2.0 / seconds) as usize;
        if affordable < LEAST {
            return Err(format!("reading {LEAST} tokens of this model twice takes longer than {} s", limit.as_secs()));
        }
        self.workload.text = self.workload.text.min(affordable);
        Ok(())
    }

    /// Measures less deep until a whole search of a few candidates is over within `limit`, which begins now.
    pub(super) fn fit(&mut self, limit: Duration) -> Result<(), String> {
        // The default twice, two alternatives, and the confirmation of one of them.
        const MEASUREMENTS: u32 = 6;
        loop {
            let estimate = self.estimate()?;
            if estimate * MEASUREMENTS <= limit {
                self.started = Instant::now();
                return Ok(());
            }
            match self.workload.depths.last().copied() {
                Some(depth) if depth > STRIDE => self.workload.depths = vec![(depth / 4).max(STRIDE)],
                Some(_) => self.workload.depths.clear(),
                None => {
                    let seconds = estimate.as_secs_f64();
                    return Err(format!(
                        "one measurement of this model takes {seconds:.1} s, too long for now: `llmo tune` takes its time"
                    ));
                }
            }
        }
    }

    /// Perplexity of `text` with a KV cache of this type.
    pub(super) fn perplexity_of(&self, text: &str, kv_type: KvType) -> Result<f64, String> {
        let tokens = perplexity::tokens(self.vocabulary, text, self.workload.text.min(self.size.trained_for as usize));
        let like = ContextShape { kv_type, flash_attention: true, ..self.shape };
        let mut context = Context::new(self.model, &perplexity::shape(like, tokens.len()))?;
        perplexity::perplexity(&mut context, &tokens)
    }

    fn shape_of(&self, candidate: &Candidate, slots: u32, context_length: u32) -> ContextShape {
        let batch = candidate.prefill_chunk.max(slots);
        ContextShape {
            slots,
            context_length,
            prefill_chunk: candidate.prefill_chunk,
            batch,
            micro_batch: candidate.micro_batch.min(batch),
            threads: candidate.threads,
            threads_batch: candidate.threads_batch,
            kv_type: candidate.kv_type,
            flash_attention: candidate.flash_attention,
            kv_unified: candidate.kv_unified,
        }
    }

    /// Streams that fit into the memory with so many tokens each.
    fn fitting(&self, context_length: u32, most: u32) -> Vec<u32> {
        let bytes = |batch: u32| KvType::F16.bytes(self.size.kv_values) * u64::from(batch) * u64::from(context_length);
        let fits = |batch: &u32| *batch == 1 || (*batch <= most && bytes(*batch) <= self.workload.kv_bytes);
        self.workload.batches.iter().copied().filter(fits).collect()
    }

    fn token(&self, number: u32) -> u32 {
        let words = u32::try_from(self.model.n_vocab()).unwrap_or(1).max(1);
        (number.wrapping_mul(7919).wrapping_add(1000)) % words
    }

    /// Reads tokens into sequence 0, in runs of `chunk`.
    fn read(&self, context: &mut Context<'_>, from: u32, count: u32, chunk: u32) -> Result<(), String> {
        let positions: Vec<u32> = (from..from + count).collect();
        for run in positions.chunks(chunk.max(1) as usize) {
            let last = run.last().copied();
            let feed = |&position: &u32| Feed {
                slot: 0,
                token: self.token(position),
                position,
                logits: Some(position) == last,
            };
            let feeds: Vec<Feed> = run.iter().map(feed).collect();
            context.run(&feeds).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// One token of each of `batch` streams.
    fn step(&self, context: &mut Context<'_>, batch: u32, position: u32) -> Result<(), String> {
        let feed = |slot| Feed { slot, token: self.token(slot + position), position, logits: true };
        let feeds: Vec<Feed> = (0..batch).map(feed).collect();
        context.run(&feeds).map_err(|e| e.to_string())
    }

    /// Speeds of generating with `depth` tokens in every cache. Sequences below `filled` hold them already.
    fn decode(&self, context: &mut Context<'_>, batches: &[u32], depth: u32, found: &mut Speeds) -> Result<(), String> {
        for &batch in batches {
            if depth > 0 && batch > 1 && !context.can_copy() {
                continue;
            }
            for slot in 0..batch {
                // What an earlier, narrower batch has added is forgotten, so that all are at the same position.
                context.keep(slot, depth);
                if depth > 0 && slot > 0 && !context.copy(0, slot) {
                    return Err("a sequence could not be copied".into());
                }
            }
            let seconds =
                median_step(|step| self.step(context, batch, depth + step), self.workload.steps)?.as_secs_f64();
            found.push((Point::Decode { batch, depth }, f64::from(batch) / seconds.max(1e-9)));
        }
        Ok(())
    }
}

/// The median duration of a step, after one that doesn't count.
fn median_step(mut step: impl FnMut(u32) -> Result<(), String>, steps: u32) -> Result<Duration, String> {
    step(0)?;
    let mut seconds = Vec::new();
    for number in 1..=steps.max(1) {
        let begun = Instant::now();
        step(number)?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    Ok(Duration::from_secs_f64(median(seconds)))
}

impl Measure for Bench<'_> {
    fn speeds(&mut self, candidate: &Candidate) -> Result<Speeds, String> {
        let mut found = Speeds::new();
        // Many short sequences first, then a few long ones: both at once would need too much memory.
        let batches = self.fitting(CELLS, u32::MAX);
        let widest = batches.iter().copied().max().unwrap_or(1);
        let mut context = Context::new(self.model, &self.shape_of(candidate, widest, CELLS))?;
        self.decode(&mut context, &batches, 0, &mut found)?;
        drop(context);

        let Some(&deepest) = self.workload.depths.last() else { return Ok(found) };
        let length = deepest + CELLS;
        let batches = self.fitting(length, 8);
        let widest = batches.iter().copied().max().unwrap_or(1);
        let mut context = Context::new(self.model, &self.shape_of(candidate, widest, length))?;
        let mut depth = 0;
        for &end in &self.workload.depths {
            while depth < end {
                let begun = Instant::now();
                self.read(&mut context, depth, STRIDE, candidate.prefill_chunk)?;
                let speed = f64::from(STRIDE) / begun.elapsed().as_secs_f64().max(1e-9);
                if depth == 0 || depth + STRIDE == end {
                    found.push((Point::Prefill { depth }, speed));
                }
                depth += STRIDE;
            }
            self.decode(&mut context, &batches, depth, &mut found)?;
            context.keep(0, depth);
        }
        found.dedup_by_key(|(point, _)| *point);
        Ok(found)
    }

    fn perplexity(&mut self, kv_type: KvType) -> Result<f64, String> {
        self.perplexity_of(perplexity::PROSE, kv_type)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
