//! GBNF text into rules.

use std::collections::HashMap;

use super::characters::Characters;
use crate::constraint::limits;

/// What a rule, or a part of one, matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// One character.
    One(Characters),
    /// What the rule of this number matches.
    Rule(usize),
    /// One after the other.
    Sequence(Vec<Node>),
    /// One of them.
    Choice(Vec<Node>),
    /// Again and again, at least and at most this often.
    Repeat(Box<Node>, u32, Option<u32>),
}

/// A parsed grammar: the rules by number, and which is `root`.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) nodes: Vec<Node>,
    pub(super) root: usize,
}

/// Parses a grammar.
pub(super) fn parse(text: &str) -> Result<Rules, String> {
    let mut parser = Parser { text, at: 0, nodes: 0, numbers: HashMap::new(), names: Vec::new() };
    let mut bodies: Vec<Option<Node>> = Vec::new();
    parser.skip_space(true);
    while parser.peek().is_some() {
        let number = parser.rule_head()?;
        let body = parser.choice(0)?;
        parser.skip_space(true);
        bodies.resize_with(bodies.len().max(number + 1), || None);
        if bodies[number].replace(body).is_some() {
            return Err(parser.error(&format!("the rule {:?} is defined twice", parser.names[number])));
        }
    }
    bodies.resize_with(parser.names.len(), || None);
    let nodes = bodies.into_iter().zip(&parser.names);
    let nodes: Result<Vec<Node>, String> =
        nodes.map(|(body, name)| body.ok_or_else(|| format!("the rule {name:?} is used and not defined"))).collect();
    let root = *parser.numbers.get("root").ok_or("there is no rule \"root\"")?;
    Ok(Rules { nodes: nodes?, root })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    nodes: usize,
    numbers: HashMap<&'a str, usize>,
    names: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn error(&self, message: &str) -> String {
        let before = &self.text[..self.at.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: {message}")
    }

    /// Skips white space and comments; line breaks only where a rule goes on.
    fn skip_space(&mut self, lines: bool) {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' => self.at += 1,
                '\r' | '\n' if lines => self.at += 1,
                '#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                _ => return,
            }
        }
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
        self.at += end;
        (end > 0).then(|| &rest[..end])
    }

    fn number_of(&mut self, name: &'a str) -> Result<usize, String> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        if self.names.len() >= limits::RULES {
            return Err(format!("at most {} rules", limits::RULES));
        }
        self.names.push(name);
        self.numbers.insert(name, self.names.len() - 1);
        Ok(self.names.len() - 1)
    }

    fn rule_head(&mut self) -> Result<usize, String> {
        let name = self.name().ok_or_else(|| self.error("the name of a rule is expected"))?;
        let number = self.number_of(name)?;
        self.skip_space(false);
        if !self.eat("::=") {
            return Err(self.error(&format!("::= is expected after {name:?}")));
        }
        self.skip_space(true);
        Ok(number)
    }

    fn count(&mut self) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > limits::GBNF_NODES {
            return Err(self.error("the grammar is too large"));
        }
        Ok(())
    }

    fn choice(&mut self, depth: usize) -> Result<Node, String> {
        if depth > limits::GBNF_DEPTH {
            return Err(self.error(&format!("groups are nested deeper than {} levels", limits::GBNF_DEPTH)));
        }
        let mut choices = vec![self.sequence(depth)?];
        loop {
            let here = self.at;
            self.skip_space(true);
            if !self.eat("|") {
                // The next line is another rule.
                self.at = if depth > 0 { self.at } else { here };
                break;
            }
            self.skip_space(true);
            choices.push(self.sequence(depth)?);
        }
        self.count()?;
        let only = if choices.len() == 1 { choices.pop() } else { None };
        Ok(only.unwrap_or(Node::Choice(choices)))
    }

    fn sequence(&mut self, depth: usize) -> Result<Node, String> {
        let mut items: Vec<Node> = Vec::new();
        // Where the last element begins: a repetition repeats the whole of a quoted text.
        let mut last = 0;
        loop {
            self.skip_space(depth > 0);
            let Some(c) = self.peek() else { break };
            match c {
                '"' => {
                    last = items.len();
                    self.quoted(&mut items)?;
                }
                '[' => {
                    last = items.len();
                    items.push(self.class()?);
                }
                '.' => {
                    self.at += 1;
                    last = items.len();
                    items.push(Node::One(Characters::all()));
                }
                '(' => {
                    self.at += 1;
                    self.skip_space(true);
                    last = items.len();
                    items.push(self.choice(depth + 1)?);
                    self.skip_space(true);
                    if !self.eat(")") {
                        return Err(self.error("a closing parenthesis is expected"));
                    }
                }
                '*' | '+' | '?' | '{' => {
                    let (least, most) = self.bounds()?;
                    if last >= items.len() {
                        return Err(self.error("there is nothing before this that could be repeated"));
                    }
                    let tail = items.split_off(last);
                    let body = if tail.len() == 1 { tail.into_iter().next() } else { Some(Node::Sequence(tail)) };
                    items.extend(body.map(|body| Node::Repeat(Box::new(body), least, most)));
                }
                '<' | '!' => return Err(self.error("single tokens (<…>) can't be named here; write their text")),
                c if c.is_ascii_alphanumeric() || c == '_' => {
                    let name = self.name().unwrap_or_default();
                    last = items.len();
                    items.push(Node::Rule(self.number_of(name)?));
                }
                _ => break,
            }
            self.count()?;
        }
        if depth == 0 && !matches!(self.peek(), None | Some('\n' | '\r' | '|')) {
            return Err(self.error(&format!("unexpected {:?}", self.peek().unwrap_or_default())));
        }
        let only = if items.len() == 1 { items.pop() } else { None };
        Ok(only.unwrap_or(Node::Sequence(items)))
    }

    fn bounds(&mut self) -> Result<(u32, Option<u32>), String> {
        match self.next() {
            Some('*') => return Ok((0, None)),
            Some('+') => return Ok((1, None)),
            Some('?') => return Ok((0, Some(1))),
            _ => {}
        }
        self.skip_space(true);
        let least = if self.peek() == Some(',') { 0 } else { self.number()? };
        self.skip_space(true);
        let mut most = Some(least);
        if self.eat(",") {
            self.skip_space(true);
            most = if self.peek() == Some('}') { None } else { Some(self.number()?) };
            self.skip_space(true);
        }
        if !self.eat("}") {
            return Err(self.error("the } of a repetition is expected"));
        }
        match most {
            Some(most) if most < least => Err(self.error("a repetition's upper bound is below its lower bound")),
            _ => Ok((least, most)),
        }
    }

    fn number(&mut self) -> Result<u32, String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.error("a number is expected"));
        }
        self.at += end;
        let number = rest[..end].parse().unwrap_or(u64::MAX);
        match u32::try_from(number) {
            Ok(number) if u64::from(number) <= limits::REPETITION => Ok(number),
            _ => Err(self.error(&format!("repetitions up to {} are allowed", limits::REPETITION))),
        }
    }

    fn quoted(&mut self, items: &mut Vec<Node>) -> Result<(), String> {
        self.at += 1;
        let begin = items.len();
        loop {
            match self.peek() {
                None | Some('\n') => return Err(self.error("a text in quotes has no end")),
                Some('"') => {
                    self.at += 1;
                    break;
                }
                Some(_) => {
                    let c = self.character()?;
                    self.count()?;
                    items.push(Node::One(Characters::one(c)));
                }
            }
        }
        if items.len() == begin {
            items.push(Node::Sequence(Vec::new()));
        }
        Ok(())
    }

    fn class(&mut self) -> Result<Node, String> {
        self.at += 1;
        let negated = self.eat("^");
        let mut set = Characters::default();
        loop {
            match self.peek() {
                None | Some('\n') => return Err(self.error("a class in brackets has no end")),
                Some(']') => {
                    self.at += 1;
                    break;
                }
                Some(_) => {
                    let first = self.character()?;
                    let is_range = self.rest().starts_with('-') && !self.rest().starts_with("-]");
                    let last = if is_range {
                        self.at += 1;
                        self.character()?
                    } else {
                        first
                    };
                    if last < first {
                        return Err(self.error(&format!("the range {first:?} to {last:?} is empty")));
                    }
                    self.count()?;
                    set.insert(first, last);
                }
            }
        }
        let set = if negated { set.negated() } else { set };
        if set.is_empty() {
            return Err(self.error("a class in brackets matches nothing"));
        }
        Ok(Node::One(set))
    }

    /// One character of a quoted text or a class, escapes read.
    fn character(&mut self) -> Result<char, String> {
        let c = self.next().ok_or_else(|| self.error("a character is expected"))?;
        if c != '\\' {
            return Ok(c);
        }
        let digits = match self.next() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some('n') => return Ok('\n'),
            Some(c @ ('\\' | '"' | '[' | ']' | '-' | '^')) => return Ok(c),
            _ => return Err(self.error("unknown escape")),
        };
        let code = self.rest().get(..digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let c = code
            .and_then(char::from_u32)
            .ok_or_else(|| self.error(&format!("{digits} hexadecimal digits of a character are expected")))?;
        self.at += digits;
        Ok(c)
    }
}
