// What every page does.
import "./live.js";
import "./actions.js";
import "./drawer.js";
import "./time.js";
