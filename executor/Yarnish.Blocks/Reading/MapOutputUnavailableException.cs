using Yarnish.Protocol;

namespace Yarnish.Blocks;

/// <summary>A map output cannot be read, after retries: its map task must run again.</summary>
internal sealed class MapOutputUnavailableException(MapOutputId output, NodeId node, string message, Exception? inner = null) : IOException(message, inner)
{
    /// <summary>Which.</summary>
    public MapOutputId Output { get; } = output;

    /// <summary>Where it should have been.</summary>
    public NodeId Node { get; } = node;
}
