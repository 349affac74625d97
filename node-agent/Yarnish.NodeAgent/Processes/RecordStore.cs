using System.Globalization;
using System.Text.Json;
using Yarnish.NodeAgent.Containers;
using Yarnish.NodeAgent.Node;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Processes;

/// <summary>
/// The records under <c>run/</c>: what the agent writes of a container (<c>.json</c>), what its launcher writes (<c>.started</c>, <c>.exited</c>) and what
/// remains of it (<c>.gone</c>). Tells at once when a launcher wrote something.
/// </summary>
internal sealed class RecordStore : IDisposable
{
    private readonly DataDirectory _directory;
    private readonly ILogger<RecordStore> _logger;
    private FileSystemWatcher? _watcher;
    private int _forgotten;

    public RecordStore(DataDirectory directory, ILogger<RecordStore> logger)
    {
        _directory = directory;
        _logger = logger;
    }

    /// <summary>The prefix of a container's records, as the launcher takes it.</summary>
    public string Prefix(ContainerId container) => Path.Combine(_directory.Run, container.Value);

    /// <summary>Starts watching: <paramref name="changed"/> is called, on any thread, with each container whose launcher wrote something, perhaps more than once.</summary>
    public void Watch(Action<ContainerId> changed)
    {
        // Launchers write a .part and rename it, so a name that appears is whole.
        _watcher = new FileSystemWatcher(_directory.Run) { NotifyFilter = NotifyFilters.FileName, InternalBufferSize = 64 * 1024 };
        _watcher.Created += (_, file) => Tell(file.Name);
        _watcher.Renamed += (_, file) => Tell(file.Name);
        // After an overflow or a failed watch the sweep of the shell, once a second, still finds everything: later, not never.
        _watcher.Error += (_, error) => _logger.LogWarning("Watching {Directory} failed: {Error}. Starts and exits are noticed within a second.", _directory.Run, error.GetException().Message);
        _watcher.EnableRaisingEvents = true;

        void Tell(string? name)
        {
            if (name is not null && (name.EndsWith(".started", StringComparison.Ordinal) || name.EndsWith(".exited", StringComparison.Ordinal)) && Id(name) is { } container)
            {
                changed(container);
            }
        }
    }

    /// <summary>Writes the record of a container, whole or not at all.</summary>
    public void Save(ContainerRecord record) => Write(Prefix(record.ContainerId) + ".json", record);

    /// <summary>What the launcher wrote of the process; null while it has not.</summary>
    public ProcessIdentity? Started(ContainerId container)
    {
        var parts = ReadText(Prefix(container) + ".started")?.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        if (parts is not [var launcher, var launcherStart, var process, var processStart]
            || !int.TryParse(launcher, NumberStyles.None, CultureInfo.InvariantCulture, out var launcherId)
            || !long.TryParse(launcherStart, NumberStyles.None, CultureInfo.InvariantCulture, out var launcherTicks)
            || !int.TryParse(process, NumberStyles.None, CultureInfo.InvariantCulture, out var processId)
            || !long.TryParse(processStart, NumberStyles.None, CultureInfo.InvariantCulture, out var ticks))
        {
            return null;
        }
        return new ProcessIdentity(processId, ticks, launcherId, launcherTicks);
    }

    /// <summary>The exit code the launcher wrote; null while it has not.</summary>
    public int? ExitCode(ContainerId container) =>
        int.TryParse(ReadText(Prefix(container) + ".exited"), NumberStyles.None, CultureInfo.InvariantCulture, out var code) ? code : null;

    /// <summary>Replaces the records of a container by a note of its exit.</summary>
    public void Forget(ContainerId container, ContainerExit exit)
    {
        var prefix = Prefix(container);
        Write(prefix + ".gone", exit);
        File.Delete(prefix + ".json");
        File.Delete(prefix + ".started");
        File.Delete(prefix + ".exited");
        if (++_forgotten % ContainerTable.MaximumFormer == 0)
        {
            Prune();
        }
    }

    /// <summary>Records of the agent's previous incarnation, oldest grant first. One that cannot be read is logged and left in place.</summary>
    public IEnumerable<ContainerRecord> Records() => Ids(".json").Select(id => Read<ContainerRecord>(Prefix(id) + ".json")).OfType<ContainerRecord>();

    /// <summary>Notes of containers that are over.</summary>
    public IEnumerable<(ContainerId Container, ContainerExit Exit)> Former()
    {
        Prune();
        foreach (var id in Ids(".gone"))
        {
            if (Read<ContainerExit>(Prefix(id) + ".gone") is { } exit)
            {
                yield return (id, exit);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _watcher?.Dispose();

    private void Prune()
    {
        var notes = new DirectoryInfo(_directory.Run).GetFiles("*.gone");
        foreach (var old in notes.OrderByDescending(note => note.LastWriteTimeUtc).Skip(ContainerTable.MaximumFormer))
        {
            old.Delete();
        }
    }

    private ContainerId[] Ids(string ending) =>
        [.. Directory.EnumerateFiles(_directory.Run, "*" + ending).Select(path => Id(Path.GetFileName(path))).OfType<ContainerId>().Order()];

    private static ContainerId? Id(string name)
    {
        try
        {
            return ContainerId.Create(name[..name.IndexOf('.', StringComparison.Ordinal)]);
        }
        catch (Exception error) when (error is FormatException or ArgumentException)
        {
            return null;
        }
    }

    private static string? ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    private T? Read<T>(string path)
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize<T>(File.ReadAllText(path), ProtocolJson.Options);
        }
        catch (Exception error) when (error is JsonException or IOException)
        {
            _logger.LogError("The record {Path} cannot be read and is passed over: {Error}", path, error.Message);
            return null;
        }
    }

    private static void Write<T>(string path, T value)
    {
        File.WriteAllText(path + ".part", JsonSerializer.Serialize(value, ProtocolJson.Options));
        File.Move(path + ".part", path, overwrite: true);
    }
}
