'use strict';
/**
 * Stands in for VS Code's native logger, which would have to be compiled. Without any logger the editor's output
 * channels stay empty and no log file is written. Every line is written at once: tests read the files while it runs.
 */
const { appendFileSync, mkdirSync } = require('node:fs');
const { dirname } = require('node:path');

const LEVELS = ['trace', 'debug', 'info', 'warning', 'error', 'critical'];
const OFF = LEVELS.length;

class FileLogger {
  constructor(file) {
    this.file = file;
    this.level = LEVELS.indexOf('info');
    this.decorated = true;
    LEVELS.forEach((name, level) => {
      this[name === 'warning' ? 'warn' : name] = (message) => this.write(level, message);
    });
  }

  write(level, message) {
    if (this.level === OFF || level < this.level) return;
    const line = this.decorated ? `${new Date().toISOString()} [${LEVELS[level]}] ${message}\n` : message;
    try {
      appendFileSync(this.file, line);
    } catch {
      // A logger must not be the reason why an editor fails.
    }
  }

  getLevel() {
    return this.level;
  }

  setLevel(level) {
    this.level = level;
  }

  clearFormatters() {
    this.decorated = false;
  }

  setPattern() {
    this.decorated = true;
  }

  flush() {}

  drop() {}
}

async function openLogger(_name, file) {
  mkdirSync(dirname(file), { recursive: true });
  return new FileLogger(file);
}

// One assignment each: VS Code imports this by name, and node finds names of a CommonJS module only in this form.
exports.version = 0;
exports.Logger = class extends FileLogger {
  constructor(_kind, _name, file) {
    super(file);
  }
};
exports.createRotatingLogger = openLogger;
exports.createAsyncRotatingLogger = openLogger;
exports.setLevel = () => {};
exports.setFlushOn = () => {};
