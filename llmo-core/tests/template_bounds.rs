//! Templates from files are not trusted: whatever they do, they end soon and with little memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use llmo_core::model::Message;
use llmo_core::text::{ChatTemplate, TemplateError};

/// Counts the bytes in use, and the most that were in use since the last reset.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes every call on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(used, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HOSTILE: &[(&str, &str)] = &[
    (
        "nested loops",
        "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %}",
    ),
    (
        "output",
        "{% for a in range(10000) %}{% for b in range(10000) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
    ),
    (
        "doubling a string",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    ),
    (
        "adding a string",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    ),
    ("multiplying a string", "{{ 'x' * 99999999 }}"),
    ("multiplying twice", "{{ ('x' * 10000) * 10000 }}"),
    ("multiplying a list", "{{ [1, 2, 3] * 33333333 }}"),
    ("multiplying a list, listed", "{{ ([1, 2, 3] * 33333333) | list | length }}"),
    ("multiplying a tuple", "{{ (1, 2, 3) * 33333333 }}"),
    ("range", "{{ range(1000000000) | list }}"),
    ("replace", "{{ ('x' * 10000).replace('x', 'y' * 10000) }}"),
    ("replace filter", "{{ ('x' * 10000) | replace('x', 'y' * 10000) }}"),
    ("replace the empty string", "{{ ('x' * 10000).replace('', 'y' * 10000) }}"),
    ("join", "{{ ('y' * 10000).join(range(10000)) }}"),
    ("join filter", "{{ range(10000) | join('y' * 10000) }}"),
    ("padding by format", "{{ '%99999999d' | format(1) }}"),
    ("padding by format, precise", "{{ '%.99999999f' | format(1.0) }}"),
    ("padding by str.format", "{{ '{:>99999999}'.format(1) }}"),
    ("padding by str.format, nested", "{{ '{:{}}'.format(1, 99999999) }}"),
    ("center", "{{ 'x' | center(99999999) }}"),
    ("indent", "{{ ('a\\n' * 1000) | indent(99999) }}"),
    ("tojson indent", "{{ [[[[1]]]] | tojson(indent=99999999) }}"),
    ("round", "{{ 1.5 | round(99999999) }}"),
    ("power", "{{ 10 ** 99999999 }}"),
    ("recursive macro", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
    ("recursive macro, twice", "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}"),
    (
        "mutually recursive macros",
        "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
    ),
    ("recursive loop", "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
    ("splitting", "{% for i in range(10000) %}{% set x = ('a ' * 10000).split(' ') %}{% endfor %}"),
    (
        "shared list, printed",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}",
    ),
    (
        "shared list, as JSON",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a | tojson }}",
    ),
    (
        "shared map, as JSON",
        "{% set ns = namespace(a={}) %}{% for i in range(60) %}{% set ns.a = {'a': ns.a, 'b': ns.a} %}{% endfor %}{{ ns.a | tojson(indent=2) }}",
    ),
    (
        "shared list, to string",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a | string | length }}",
    ),
    (
        "shared list, pretty",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a | pprint }}",
    ),
    (
        "shared list, joined",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ','.join(ns.a) }}",
    ),
    (
        "shared list, formatted",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ '{}'.format(ns.a) }}",
    ),
    (
        "shared list, formatted by filter",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ '%s' | format(ns.a) }}",
    ),
    (
        "shared list raised",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ raise_exception(ns.a) }}",
    ),
    (
        "deep list, dropped",
        "{% set ns = namespace(a=[]) %}{% for i in range(10000) %}{% for j in range(100) %}{% set ns.a = [ns.a] %}{% endfor %}{% endfor %}",
    ),
    (
        "deep map, dropped",
        "{% set ns = namespace(a={}) %}{% for i in range(10000) %}{% for j in range(100) %}{% set ns.a = {'a': ns.a} %}{% endfor %}{% endfor %}",
    ),
    (
        "deep list, printed",
        "{% set ns = namespace(a=[]) %}{% for i in range(9000) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}",
    ),
    (
        "deep list, as JSON",
        "{% set ns = namespace(a=[]) %}{% for i in range(9000) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a | tojson }}",
    ),
    (
        "deep lists, compared",
        "{% set ns = namespace(a=[], b=[]) %}{% for i in range(9000) %}{% set ns.a = [ns.a] %}{% set ns.b = [ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
    ),
    ("many captures", "{% for i in range(10000) %}{% set x %}{{ 'x' * 5000 }}{% endset %}{% endfor %}"),
    (
        "growing list",
        "{% set ns = namespace(a=[]) %}{% for i in range(10000) %}{% set ns.a = ns.a + range(10000) | list %}{% endfor %}",
    ),
    ("slices", "{% set s = 'x' * 100000 %}{% for i in range(10000) %}{% set t = s[1:] %}{% endfor %}"),
    ("searching", "{% set s = 'x' * 100000 %}{% for i in range(10000) %}{% set t = s.find('y') %}{% endfor %}"),
    ("counting", "{% set s = 'x' * 100000 %}{% for i in range(10000) %}{% set t = s.count('xy') %}{% endfor %}"),
    ("membership", "{% set s = 'x' * 100000 %}{% for i in range(10000) %}{% set t = 'y' in s %}{% endfor %}"),
    ("prefixes", "{% set s = 'x' * 100000 %}{% for i in range(10000) %}{% set t = s.startswith(s) %}{% endfor %}"),
    ("checks", "{% set s = 'x' * 100000 %}{% for i in range(10000) %}{% set t = s.isalnum() %}{% endfor %}"),
];

/// What one instruction of the engine does in exponential time: fuel can't see it.
const EXPONENTIAL: &[(&str, &str)] = &[
    (
        "shared list, concatenated",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ 'x' ~ ns.a }}",
    ),
    (
        "shared lists, compared",
        "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
    ),
    (
        "shared lists, counted",
        "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ [ns.a].count(ns.b) }}",
    ),
    (
        "shared lists, searched",
        "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a in [ns.b] }}",
    ),
    (
        "shared lists, sorted",
        "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ [ns.a, ns.b] | sort | length }}",
    ),
    (
        "shared list as a key",
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ {ns.a: 1} | length }}",
    ),
];

/// Renders on its own; what came out, how long it took and how many bytes it needed.
fn run(template: &ChatTemplate, content: &str) -> (Result<String, TemplateError>, Duration, usize) {
    let messages = [Message::user(content)];
    let before = USED.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    let start = Instant::now();
    let result = template.render(&messages, true);
    (result, start.elapsed(), PEAK.load(Ordering::SeqCst).saturating_sub(before))
}

/// One test, so that no other one is counted by the allocator.
#[test]
fn hostile_templates_end_soon_and_with_little_memory() {
    // Unoptimised code on a busy machine is some twenty times slower.
    let most = if cfg!(debug_assertions) { Duration::from_secs(2) } else { Duration::from_millis(100) };
    for (name, source) in HOSTILE {
        let Ok(template) = ChatTemplate::compile(source, "", "") else { panic!("{name} does not compile") };
        // The best of three: other processes want the processor too.
        let mut runs = [(); 3].map(|()| run(&template, "hi"));
        runs.sort_by_key(|(_, took, _)| *took);
        let [(result, took, bytes), ..] = runs;
        let length = result.map_or(0, |text| text.len());
        assert!(length < 1 << 20, "{name} made {length} bytes");
        assert!(took < most, "{name} took {took:?}");
        assert!(bytes < 32 << 20, "{name} needed {bytes} bytes");
    }
    // With the fuel of a long conversation values are nested ten times deeper. That the process lives is the assertion.
    for (_, source) in HOSTILE.iter().filter(|(name, _)| name.starts_with("deep")) {
        let template = ChatTemplate::compile(source, "", "").expect("compiles");
        drop(run(&template, &"x".repeat(4 << 20)));
    }
}

/// On request, as their threads go on for ever: `cargo test --test template_bounds -- --ignored`.
#[test]
#[ignore = "leaves threads behind that never end"]
fn exponential_templates_are_given_up_and_never_run_again() {
    for (name, source) in EXPONENTIAL {
        let template = ChatTemplate::compile(source, "", "").expect("compiles");
        for most in [Duration::from_secs(4), Duration::from_millis(20)] {
            let (result, took, _) = run(&template, "hi");
            assert!(matches!(result, Err(TemplateError::Exhausted)), "{name}: {result:?}");
            assert!(took < most, "{name} took {took:?}");
        }
    }
}
