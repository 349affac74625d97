namespace Yarnish.Serialization;

/// <summary>
/// Marks types that exist only in the driver: the session, collections, job handles. A function that captures one is refused before anything is sent.
/// </summary>
public interface IDriverOnly;
