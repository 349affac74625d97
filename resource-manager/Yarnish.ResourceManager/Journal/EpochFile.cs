using System.Globalization;

namespace Yarnish.ResourceManager.Journal;

/// <summary>
/// The highest epoch this machine has seen, in a file: when Redis is emptied between two starts, epochs still grow, so that no container id is ever granted
/// twice and no agent takes the new resource manager for an old one.
/// </summary>
internal sealed class EpochFile(string directory)
{
    private readonly string _path = Path.Combine(directory, "epoch");

    /// <summary>The epoch written last; 0 when there is none or it cannot be read.</summary>
    public int Read()
    {
        try
        {
            return int.TryParse(File.ReadAllText(_path).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var epoch) ? epoch : 0;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    /// <summary>Writes the epoch; the file is whole at any moment.</summary>
    public void Write(int epoch)
    {
        Directory.CreateDirectory(directory);
        var incoming = _path + ".new";
        using (var file = new FileStream(incoming, FileMode.Create, FileAccess.Write))
        {
            file.Write(System.Text.Encoding.ASCII.GetBytes(epoch.ToString(CultureInfo.InvariantCulture)));
            file.Flush(flushToDisk: true);
        }
        File.Move(incoming, _path, overwrite: true);
    }
}
