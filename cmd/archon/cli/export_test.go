package cli

// Projectors is the one list of projections and reactions.
var Projectors = projectors
