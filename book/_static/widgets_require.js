// Read before RequireJS: where it looks for modules.
var require = { baseUrl: "../_static/vendor" };
